"""PTB-XL: 21,799 diagnostic 12-lead ECGs with cardiologists' statements."""
