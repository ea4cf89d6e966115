# Image for training: docker build -f launch/train.Dockerfile -t IMAGE .
# For NVIDIA GPUs: --build-arg EXTRA=cuda
FROM python:3.11-slim
ARG EXTRA=tpu
COPY . /clef_jax
RUN pip install --no-cache-dir -c /clef_jax/constraints.txt "/clef_jax[$EXTRA]"
