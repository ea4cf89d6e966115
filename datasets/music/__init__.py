"""MUSIC: 24-hour Holters of 936 patients with heart failure, and how they fared."""
