# The web page on the published Leffa. On a CPU, then on a GPU (with the NVIDIA Container Toolkit):
#
#   docker build -t leffa .
#   docker run -p 127.0.0.1:7860:7860 -v leffa-weights:/weights leffa
#
#   docker build -t leffa --build-arg BASE=nvidia/cuda:13.0.1-base-ubuntu24.04 .
#   docker run --gpus all -p 127.0.0.1:7860:7860 -v leffa-weights:/weights leffa
#
# Another command takes the place of the page: docker run ... leffa leffa tryon ...
ARG BASE=debian:bookworm-slim
FROM ${BASE}

RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home leffa \
    && mkdir /weights \
    && chown leffa /weights

WORKDIR /build
COPY requirements.lock ./
RUN python3 -m venv /opt/leffa \
    && /opt/leffa/bin/python -m pip install --no-cache-dir --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY conf conf
COPY src src
RUN /opt/leffa/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation .

ENV PATH=/opt/leffa/bin:$PATH HF_HOME=/weights PYTHONUNBUFFERED=1
VOLUME /weights
USER leffa
WORKDIR /home/leffa
EXPOSE 7860
# The first start fetches the weights, which takes longer than the others.
HEALTHCHECK --start-period=30m --interval=30s --timeout=10s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/', timeout=5)"]
CMD ["leffa", "app", "--released", "--host", "0.0.0.0", "--port", "7860"]
