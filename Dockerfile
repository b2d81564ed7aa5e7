# The service with the model that ships: no torch, tasks in a volume or in PostgreSQL, as a user who owns no more.
#   docker build -t polyseme . && docker run --rm -p 8000:8000 polyseme

FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY model model
COPY training training
COPY service service
# Not editable: the packages and the bundle go into the environment, /src is left behind.
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --constraint constraints.txt '.[postgres]'

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home polyseme \
    && install --directory --owner=polyseme /var/lib/polyseme
COPY --from=build /venv /venv
# Learned tasks live here unless POLYSEME_DATABASE_URL is set; a named volume keeps them.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 POLYSEME_TASKS_PATH=/var/lib/polyseme/tasks.sqlite
VOLUME /var/lib/polyseme
# By number, so that Kubernetes can see that it is not root.
USER 10001
WORKDIR /
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
CMD ["polyseme", "serve", "--host", "0.0.0.0", "--port", "8000"]
