"""The released model that a site answers its own callers with."""

from __future__ import annotations

import shutil
from pathlib import Path

from groundswell.client.site import Site
from groundswell.shared.errors import InputError, ModelError


def use_model(site: Site, model: Path) -> None:
    """Replace the site's model by a copy of ``model``, once that is known to serve here.

    Raises:
        InputError: it is no sound model, its backbone is not on this machine, or it is of another
            catalogue than the site's; the model before stays in place then.
    """
    from groundswell.shared.checkpoint import read_manifest
    from groundswell.shared.predict import load_model

    fresh = site.folder / ".model.new"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _check_catalogue(site, model, read_manifest(model))
        shutil.copytree(model, fresh)
        load_model(fresh)
        shutil.rmtree(site.model_folder, ignore_errors=True)
        fresh.rename(site.model_folder)
    except ModelError as error:
        raise InputError(
            "MODEL", str(model), str(error), "name a released model's folder, whole"
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _check_catalogue(site: Site, model: Path, manifest: dict[str, object]) -> None:
    own = site.catalogue()
    if manifest.get("catalogue_hash") != own.hash:
        raise InputError(
            "MODEL",
            str(model),
            f"is of the catalogue {manifest.get('name')} "
            f"({str(manifest.get('catalogue_hash'))[:12]}), the site of {own.name} "
            f"({own.hash[:12]})",
            "name a model of the site's own catalogue",
        )
