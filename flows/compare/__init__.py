"""`ganmill compare`: two models side by side, measured on the same latents."""
