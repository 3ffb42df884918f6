"""The live page: `hydrart run --serve PORT`; needs the extra `dashboard`."""
