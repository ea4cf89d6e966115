# Image for Beam workers: docker build -f launch/prepare.Dockerfile -t IMAGE .
FROM apache/beam_python3.11_sdk:2.77.0
COPY . /clef_jax
RUN pip install --no-cache-dir -c /clef_jax/constraints.txt '/clef_jax[beam]'
