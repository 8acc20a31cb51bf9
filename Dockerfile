# Build:  docker build -t layerscope .
# Once:   docker run -it -v layerscope:/data layerscope layerscope user add NAME
# Run:    docker run -p 127.0.0.1:5000:5000 -v layerscope:/data layerscope            (add --gpus all for CUDA)

FROM python:3.11-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /opt/layerscope
COPY constraints.txt pyproject.toml ./
# The dependencies alone first: they are large, and change less often than the code.
RUN /opt/layerscope/bin/python -c "import tomllib; print('\n'.join(tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies']))" > dependencies.txt \
    && /opt/layerscope/bin/pip install --no-cache-dir -c constraints.txt -r dependencies.txt
COPY . .
RUN /opt/layerscope/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 10001 layerscope && install -d -o layerscope /data
COPY --from=build /opt/layerscope /opt/layerscope
# What the NVIDIA runtime hands in when the container runs with --gpus all.
ENV PATH=/opt/layerscope/bin:$PATH NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    LAYERSCOPE_DATA_DIR=/data LAYERSCOPE_DATA_ROOT=/data LAYERSCOPE_HOST=0.0.0.0
USER layerscope
WORKDIR /data
VOLUME /data
EXPOSE 5000
# gunicorn, through the command that configures it: one worker, threads, a websocket each.
CMD ["layerscope", "serve"]
