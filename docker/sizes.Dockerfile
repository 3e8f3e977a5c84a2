# A service's image without optimisations, then with one more in each step; docker/sizes.sh measures them. The last step
# is service.Dockerfile. The build context is the folder services/.
ARG BASE_IMAGE=python:3.11-slim

# One stage, the whole folder, every service's packages.
FROM ${BASE_IMAGE} AS everything
ARG PIP_NO_INDEX
COPY . /src
RUN python -m pip install --find-links /src/wheels /src/common \
      $(for file in /src/*/requirements.txt; do echo "-r $file"; done)

# Only this service's folder and packages.
FROM ${BASE_IMAGE} AS own
ARG NAME PIP_NO_INDEX
COPY ${NAME} /srv
COPY wheel[s] common /common/
RUN python -m pip install --find-links /common -r /srv/requirements.txt /common

# pip keeps no copy of its downloads.
FROM ${BASE_IMAGE} AS no-cache
ARG NAME PIP_NO_INDEX
COPY ${NAME} /srv
COPY wheel[s] common /common/
RUN python -m pip install --no-cache-dir --find-links /common -r /srv/requirements.txt /common

# Install in a separate stage: pip and its files are not in the image.
FROM ${BASE_IMAGE} AS build
ARG NAME PIP_NO_INDEX
COPY ${NAME}/requirements.txt wheel[s] /wheels/
COPY common /common
RUN python -m pip install --no-cache-dir --no-compile --find-links /wheels --target /packages -r /wheels/requirements.txt /common

FROM ${BASE_IMAGE} AS two-stages
ARG NAME
COPY --from=build /packages /packages
COPY ${NAME}/*.py /srv/
ENV PYTHONPATH=/packages
WORKDIR /srv
