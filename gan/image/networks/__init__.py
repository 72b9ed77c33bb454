"""Networks of the image room: generators, critics, and the feature network of the metric."""
