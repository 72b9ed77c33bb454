"""`ganmill report`: what a change did to the recipes and to the models, for a pull request."""
