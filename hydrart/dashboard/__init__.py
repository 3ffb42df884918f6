"""The live page of `hydrart run --serve PORT`. It needs the extra `dashboard`."""
