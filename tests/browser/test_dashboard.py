"""The dashboard in a real browser: what a shop team does with it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

pytestmark = pytest.mark.slow


def open_page(page: Page, url: str, name: str) -> None:
    page.goto(f"{url}/#/{name}")
    expect(page.locator("main h1")).to_be_visible()


def forecast(page: Page, typed: str) -> None:
    page.get_by_label("history").fill(typed)
    page.get_by_role("button", name="Forecast").click()
    expect(page.locator(".busy")).to_have_count(0)


def test_a_typed_history_becomes_interests_items_and_reasons(page: Page, url: str) -> None:
    open_page(page, url, "try")
    forecast(page, "bought coffee 16 days ago; bought coffee 9 days ago; bought coffee 2 days ago")
    first = page.locator(".interest").first
    expect(first).to_contain_text("COFFEE")
    expect(first).to_contain_text("rising")
    expect(first).to_contain_text("promote now")
    first.get_by_role("button", name="Why? COFFEE").click()
    expect(first.locator(".why")).to_contain_text(
        "bought 3 times, last 2 days ago, usually every 7 days"
    )
    expect(first.locator(".why tbody tr")).to_have_count(3)
    items = page.get_by_role("region", name="Recommend")
    expect(items).to_contain_text("espresso pods")
    expect(items).to_contain_text("new to this shopper")


def test_searches_and_views_are_understood(page: Page, url: str) -> None:
    open_page(page, url, "try")
    forecast(page, "searched smartwatch; viewed fitness band")
    understood = page.locator("#understood")
    expect(understood).to_contain_text("→ FITNESS")
    expect(understood.locator(".tag").first).to_have_text("searched")
    expect(page.locator("#unread")).to_have_count(0)
    forecast(page, "searched smartwatch; searched 智能手表")
    expect(page.locator("#unread")).to_contain_text("hardly knows the script of: 智能手表")


def answer_without_rising(route: Route) -> None:
    answer = route.fetch().json()
    calm = [{**each, "lift": 1.1, "trend": "steady"} for each in answer["interests"]]
    route.fulfill(json={**answer, "interests": calm})


def test_what_does_not_rise_is_not_called_rising(page: Page, url: str) -> None:
    open_page(page, url, "try")
    forecast(page, "bought coffee 9 days ago; bought coffee 2 days ago; searched smartwatch")
    risen = page.locator("#risen")
    expect(risen).to_contain_text("Rising most")
    expect(risen.locator(".tag:not(.rising)")).to_have_count(0)
    page.route("**/v1/predict", answer_without_rising)
    forecast(page, "searched smartwatch")
    expect(risen).to_contain_text("Nothing rises clearly")
    expect(risen.locator(".tag.rising")).to_have_count(0)


def test_an_empty_history_is_the_prior(page: Page, url: str) -> None:
    open_page(page, url, "try")
    forecast(page, "")
    expect(page.locator("#answer")).to_contain_text("Nothing is known of this shopper")


def test_markup_in_a_history_stays_text(page: Page, url: str) -> None:
    open_page(page, url, "try")
    forecast(page, "searched <img src=x onerror=alert(1)>; bought <b>tea</b>")
    expect(page.locator("#understood")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("#understood img, #understood b").count() == 0


def test_chinese_through_the_whole_way(page: Page, url: str) -> None:
    open_page(page, url, "try")
    page.get_by_role("button", name="中文").click()
    expect(page.locator("main h1")).to_have_text("这位顾客接下来想要什么？")
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    page.get_by_label("顾客的历史").fill("3天前买了智能手机；昨天浏览了手机壳")
    page.get_by_role("button", name="预测").click()
    expect(page.locator("#unread")).to_contain_text("几乎不认识这些文字：智能手机、手机壳")
    first = page.locator(".interest").first
    expect(first).to_contain_text("手机")
    first.get_by_role("button", name=re.compile("为什么")).click()
    expect(first.locator(".why")).to_contain_text("习惯")
    page.reload()
    expect(page.get_by_role("link", name="趋势")).to_be_visible()


def test_trends_sort_into_promote_restock_and_fading(page: Page, url: str) -> None:
    open_page(page, url, "trends")
    expect(page.locator(".trend")).to_have_count(2)
    expect(page.locator(".trend svg.plot")).to_have_count(2)
    page.get_by_role("button", name="Promote", exact=True).click()
    expect(page.locator(".trend h3")).to_have_text(["COFFEE"])
    page.get_by_role("button", name="Fading", exact=True).click()
    expect(page.locator(".trend h3")).to_have_text(["SOUP"])
    page.get_by_role("button", name="Restock", exact=True).click()
    # SOUP's P90 of two windows is no more than two of its last.
    expect(page.locator(".trend h3")).to_have_text(["COFFEE"])
    expect(page.locator(".trend").first).to_contain_text("Restock for 2 windows")
    unresolved = page.locator("section", has_text="Not resolvable").last
    expect(unresolved).to_contain_text("手机")


def test_trends_of_a_region_and_of_an_action(page: Page, url: str) -> None:
    open_page(page, url, "trends")
    where, by = page.get_by_label("Where"), page.get_by_label("Counted by")
    expect(where.locator("option")).to_have_text(["All sites", "north", "south"])
    expect(by.locator("option")).to_have_text(["All actions", "Searches"])
    by.select_option("Searches")
    expect(page.locator(".trend h3")).to_have_text(["COFFEE"])
    assert page.url.endswith("#/trends?action=search")
    where.select_option("north")  # it has no searches of its own: all actions are shown
    expect(page.locator("main")).to_contain_text("3 sites")
    expect(page.locator("main")).to_contain_text("own release: central ε 1.70 · local ε 12.60")
    expect(page.locator("main")).to_contain_text("Alone, the local tier protects little")
    expect(by).to_be_hidden()
    expect(page.locator("#say")).to_have_text("1 categories shown")
    where.select_option("south")
    expect(page.locator("main")).to_contain_text("No demand has been released yet")
    where.select_option("All sites")
    expect(page.locator(".trend")).to_have_count(2)
    expect(by).to_have_value("")


def test_a_chosen_region_outlives_language_and_reload(page: Page, url: str) -> None:
    page.goto(f"{url}/#/trends?region=north")
    expect(page.get_by_label("Where")).to_have_value("north")
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_label("范围")).to_have_value("north")
    expect(page.get_by_label("范围").locator("option").first).to_have_text("所有站点")
    expect(page.locator("main")).to_contain_text("此地区单独的发布：中心 ε 1.70 · 本地 ε 12.60")
    page.reload()
    expect(page.get_by_label("范围")).to_have_value("north")
    page.goto(f"{url}/#/trends?region=nowhere&action=search")
    expect(page.get_by_label("按行为")).to_have_value("search")
    expect(page.get_by_label("范围")).to_have_value("")


def test_trends_are_chosen_by_keyboard(page: Page, url: str) -> None:
    open_page(page, url, "trends")
    page.locator("main").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Where")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator("main")).to_contain_text("3 sites")
    expect(page.get_by_label("Where")).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.locator(".trend")).to_have_count(2)
    page.keyboard.press("Tab")
    expect(page.get_by_label("Counted by")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".trend")).to_have_count(1)


def answer_with_many(route: Route) -> None:
    assert "top=1000" in route.request.url
    answer = route.fetch().json()
    noise = [{**answer["trends"][-1], "label": f"label {number}"} for number in range(998)]
    route.fulfill(json={**answer, "trends": answer["trends"][:2] + noise})


def answer_of_a_large_model(route: Route) -> None:
    answer = route.fetch().json()
    models = [{**each, "labels": 20_000} for each in answer["models"]]
    route.fulfill(json={**answer, "models": models})


def test_labels_that_are_left_out_are_told(page: Page, url: str) -> None:
    open_page(page, url, "trends")
    expect(page.locator(".trend")).to_have_count(2)
    expect(page.locator("main")).not_to_contain_text("in all")
    page.route("**/v1/models", answer_of_a_large_model)
    page.route("**/v1/trends?*", answer_with_many)
    page.reload()
    expect(page.locator("main")).to_contain_text(
        "The 1,000 categories of the largest demand are shown, of 20,000 in all."
    )
    expect(page.locator("main")).to_contain_text("998 categories")


def answer_for_all_alone(route: Route) -> None:
    route.fulfill(json={**route.fetch().json(), "regions": [], "actions": []})


def test_without_a_choice_there_is_nothing_to_choose(page: Page, url: str) -> None:
    page.route("**/v1/trends?*", answer_for_all_alone)
    open_page(page, url, "trends")
    expect(page.locator(".trend")).to_have_count(2)
    expect(page.locator(".choices")).to_be_hidden()
    assert page.url.endswith("#/trends")


def test_the_federations_health(page: Page, url: str) -> None:
    open_page(page, url, "federation")
    expect(page.locator(".states")).to_contain_text("finished")
    rows = page.locator("table").first.locator("tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.first).to_contain_text("0.60 of ε 3.00")
    expect(page.locator("tr", has_text="north")).to_contain_text("11.81 of ε 44.81")
    expect(page.locator("tr", has_text="south")).to_contain_text("12.45 of ε 40.00")
    expect(page.locator("svg.plot")).to_have_count(2)
    expect(page.locator("#promise")).to_contain_text("Rehearsal: seeded noise, not a release.")


def test_promote_and_roll_back_ask_first(page: Page, url: str) -> None:
    open_page(page, url, "models")
    newer = page.locator("tbody tr", has_text="v2")
    newer.get_by_role("button", name="Promote v2").click()
    page.get_by_role("button", name="Cancel").click()
    expect(newer).not_to_contain_text("champion")
    newer.get_by_role("button", name="Promote v2").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("v2 answers by default instead of v1")
    dialog.get_by_role("button", name="Promote").click()
    expect(newer).to_contain_text("champion")
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.locator("tbody tr", has_text="v1")).to_contain_text("champion")


def test_everything_is_reached_by_keyboard(page: Page, url: str) -> None:
    open_page(page, url, "try")
    # The first forecast of a gateway loads the text model; its buttons are there only afterwards.
    expect(page.locator("#answer button").first).to_be_visible(timeout=30_000)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    names = []
    for _ in range(40):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate(
                "(document.activeElement.getAttribute('aria-label') ||"
                " document.activeElement.textContent || document.activeElement.id).trim()"
            )
        )
    for wanted in ("Trends", "Models", "中文", "Token", "Forecast"):
        assert wanted in names
    assert any(name.startswith("Why?") for name in names)
    page.get_by_role("link", name="Trends").focus()
    page.keyboard.press("Enter")
    expect(page.locator("main h1")).to_contain_text("What moves")
    expect(page.locator("main")).to_be_focused()


@pytest.mark.parametrize("name", ["federation", "trends"])
def test_dark_and_light_have_enough_contrast(page: Page, url: str, name: str) -> None:
    open_page(page, url, name)
    for theme in ("light", "dark"):
        page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
        ratios = page.evaluate(
            """() => {
              const light = (text) => {
                const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
                  .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const ground = (e) => {
                for (; e; e = e.parentElement) {
                  const c = getComputedStyle(e).backgroundColor;
                  if (!/rgba\\(.*, 0\\)|transparent/.test(c)) return c;
                }
                return "rgb(255, 255, 255)";
              };
              const read = "p, a, td, th, h1, h2, .tag, button, select, label";
              return [...document.querySelectorAll(read)]
                .filter((e) => e.offsetParent && e.textContent.trim())
                .map((e) => {
                  const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
                  return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.textContent.trim()];
                });
            }"""
        )
        low = [entry for entry in ratios if entry[0] < 4.5]
        assert low == [], (theme, low)


def answer_with_long_names(route: Route) -> None:
    answer = route.fetch().json()
    long = [{**each, "label": "BAKED BREAD/BUNS/ROLLS"} for each in answer["interests"]]
    route.fulfill(json={**answer, "interests": long})


def test_a_narrow_screen_scrolls_down_only(page: Page, url: str) -> None:
    page.set_viewport_size({"width": 380, "height": 800})
    for name in ("try", "trends", "federation", "models"):
        open_page(page, url, name)
        expect(page.locator(".busy")).to_have_count(0)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, name
    open_page(page, url, "try")
    forecast(page, f"searched {'x' * 990}; bought {'智' * 990}")
    expect(page.locator("#understood")).to_contain_text("xxx")
    page.locator(".interest").first.get_by_role("button").first.click()
    expect(page.locator(".interest .why")).to_contain_text("xxx")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.route("**/v1/predict", answer_with_long_names)
    open_page(page, url, "try")
    forecast(page, "bought coffee 16 days ago; searched smartwatch")
    expect(page.locator(".interest").first).to_contain_text("BAKED")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_the_policy_stops_what_is_not_the_pages_own(context: BrowserContext, url: str) -> None:
    page = context.new_page()
    page.goto(url)
    blocked = page.evaluate(
        """() => new Promise((resolve) => {
          document.addEventListener("securitypolicyviolation", (e) => resolve(e.violatedDirective));
          const script = document.createElement("script");
          script.textContent = "window.intruded = true";
          document.head.append(script);
        })"""
    )
    assert blocked.startswith("script-src")
    assert page.evaluate("window.intruded") is None


def test_nothing_is_asked_of_other_hosts(page: Page, url: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for name in ("try", "trends", "federation", "models"):
        open_page(page, url, name)
    page.wait_for_load_state("networkidle")
    assert asked
    assert {each.split("/")[2] for each in asked} == {url.removeprefix("http://")}
