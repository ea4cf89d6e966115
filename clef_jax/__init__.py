"""Clinically-guided contrastive pre-training of single-lead ECG foundation models, in JAX."""
