"""The adapters are tried on the same small project as the release."""

from tests.release.conftest import database, make_shop, repository, shop

__all__ = ["database", "make_shop", "repository", "shop"]
