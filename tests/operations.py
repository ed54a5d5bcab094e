"""Every operation of the Engine API's public description (1.56), and how to tell them apart."""

from __future__ import annotations

import re

_DESCRIPTION = """
# Container
GET /containers/json
POST /containers/create
GET /containers/{id}/json
GET /containers/{id}/top
GET /containers/{id}/logs
GET /containers/{id}/changes
GET /containers/{id}/export
GET /containers/{id}/stats
POST /containers/{id}/resize
POST /containers/{id}/start
POST /containers/{id}/stop
POST /containers/{id}/restart
POST /containers/{id}/kill
POST /containers/{id}/update
POST /containers/{id}/rename
POST /containers/{id}/pause
POST /containers/{id}/unpause
POST /containers/{id}/attach
GET /containers/{id}/attach/ws
POST /containers/{id}/wait
DELETE /containers/{id}
HEAD /containers/{id}/archive
GET /containers/{id}/archive
PUT /containers/{id}/archive
POST /containers/prune
# Image
GET /images/json
POST /build
POST /build/prune
POST /images/create
GET /images/{name}/json
GET /images/{name}/attestations
GET /images/{name}/history
POST /images/{name}/push
POST /images/{name}/tag
DELETE /images/{name}
GET /images/search
POST /images/prune
POST /commit
GET /images/{name}/get
GET /images/get
POST /images/load
# System
POST /auth
GET /info
GET /version
GET /_ping
HEAD /_ping
GET /events
GET /system/df
# Exec
POST /containers/{id}/exec
POST /exec/{id}/start
POST /exec/{id}/resize
GET /exec/{id}/json
# Volume
GET /volumes
POST /volumes/create
GET /volumes/{name}
PUT /volumes/{name}
DELETE /volumes/{name}
POST /volumes/prune
# Network
GET /networks
GET /networks/{id}
DELETE /networks/{id}
POST /networks/create
POST /networks/{id}/connect
POST /networks/{id}/disconnect
POST /networks/prune
# Plugin
GET /plugins
GET /plugins/privileges
POST /plugins/pull
GET /plugins/{name}/json
DELETE /plugins/{name}
POST /plugins/{name}/enable
POST /plugins/{name}/disable
POST /plugins/{name}/upgrade
POST /plugins/create
POST /plugins/{name}/push
POST /plugins/{name}/set
# Node
GET /nodes
GET /nodes/{id}
DELETE /nodes/{id}
POST /nodes/{id}/update
# Swarm
GET /swarm
POST /swarm/init
POST /swarm/join
POST /swarm/leave
POST /swarm/update
GET /swarm/unlockkey
POST /swarm/unlock
# Service
GET /services
POST /services/create
GET /services/{id}
DELETE /services/{id}
POST /services/{id}/update
GET /services/{id}/logs
# Task
GET /tasks
GET /tasks/{id}
GET /tasks/{id}/logs
# Secret
GET /secrets
POST /secrets/create
GET /secrets/{id}
DELETE /secrets/{id}
POST /secrets/{id}/update
# Config
GET /configs
POST /configs/create
GET /configs/{id}
DELETE /configs/{id}
POST /configs/{id}/update
# Distribution
GET /distribution/{name}/json
# Session
POST /session
"""

EVERY = [line for line in _DESCRIPTION.split("\n") if line and not line.startswith("#")]
"""Method and path, with names in braces for what is variable."""

REFUSED = {
    one
    for one in EVERY
    if re.match(r"\S+ /(plugins|swarm|nodes|services|tasks|configs)\b", one)
    or one == "PUT /volumes/{name}"  # which changes volumes of a cluster alone
}
"""What one host without swarm mode and managed plug-ins has no answer for."""

ANSWERED = [one for one in EVERY if one not in REFUSED]


def _pattern(one: str) -> re.Pattern[str]:
    method, path = one.split()
    path = re.sub(r"\\{name\\}", "(.+)", re.escape(path))  # names of images have slashes
    path = re.sub(r"\\{id\\}", "([^/]+)", path)
    return re.compile(f"{method} {path}")


_PATTERNS = [(_pattern(one), one) for one in sorted(EVERY, key=lambda one: one.count("{"))]


def find(method: str, target: str) -> str:
    """The operation that a request asks for, "" for one that the description does not have."""
    asked = f"{method} {re.sub(r'^/v1[.][0-9]+', '', target.partition('?')[0])}"
    return next((one for pattern, one in _PATTERNS if pattern.fullmatch(asked)), "")
