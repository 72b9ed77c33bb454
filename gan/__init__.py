"""The library: data, models, training, metrics, assets in plain PyTorch. It knows no platform."""
