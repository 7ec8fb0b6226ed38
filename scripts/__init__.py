"""Programs that are run from the checkout, and are no part of the package."""
