"""Models on a model hub: addresses such as `hf:ORG/NAME@REVISION`, downloads and uploads."""
