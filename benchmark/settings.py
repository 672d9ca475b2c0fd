BACKBONES = {"reference": {"activation": "gelu", "time_features": "raw"}, "paper": {"activation": "silu", "time_features": "fourier"}}
