# The service with the model that ships: no torch, tasks in a volume or in PostgreSQL, as a user who owns no more.
#   docker build -t polyseme . && docker run --rm --read-only --tmpfs /tmp -p 8000:8000 polyseme
# Without a Docker engine: deploy/build_image.sh. For pip's settings, such as an index of your own, which the image is
# not to keep: --secret id=pip,src=pip.conf.

FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY model model
COPY training training
COPY service service
# Not editable: the packages and the bundle go into /venv, and with it on; /src and pip are left behind. Python's code is
# compiled here, for nothing can be written later. numpy's and scipy's tests, a tenth of all, are a part of their own
# in their builds, that nothing else imports.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /pip && python3 -m venv --without-pip /venv \
    && /pip/bin/pip --python /venv/bin/python install --no-cache-dir --compile \
        --constraint constraints.txt '.[postgres]' \
    && find /venv/lib/python3*/site-packages/numpy /venv/lib/python3*/site-packages/scipy \
        -name tests -type d -prune -exec rm -r {} +

FROM python:3.11-slim
# The base image leaves Python's own library uncompiled: a start would take half as long again.
RUN useradd --uid 10001 --no-log-init --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin polyseme \
    && install --directory --owner=polyseme --group=polyseme /var/lib/polyseme \
    && python3 -m compileall -q -x packages/ "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /venv /venv
# Learned tasks live here unless POLYSEME_DATABASE_URL is set; a named volume keeps them.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 \
    POLYSEME_HOST=0.0.0.0 POLYSEME_PORT=8000 POLYSEME_TASKS_PATH=/var/lib/polyseme/tasks.sqlite
VOLUME /var/lib/polyseme
# By number, so that Kubernetes can see that it is not root.
USER 10001
WORKDIR /
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-c", \
    "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:%s/readyz' % os.environ['POLYSEME_PORT'], timeout=2)"]
CMD ["polyseme", "serve"]
