"""The dashboard's files, as plain HTTP: no build step, nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Response
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

WEB = Path(__file__).resolve().parents[1] / "web"


def mount(app: FastAPI) -> None:
    """Serve ``server/web`` at ``/`` and its assets under ``/assets``."""

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        """The dashboard."""
        return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})

    app.mount("/assets", StaticFiles(directory=WEB), name="assets")
