"""Training: settings (the recipe), the module that learns, the data that feeds it, and the run that ties them."""
