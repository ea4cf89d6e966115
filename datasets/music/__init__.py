"""MUSIC: 24-hour Holter ECGs of 936 patients with heart failure, with their outcomes."""
