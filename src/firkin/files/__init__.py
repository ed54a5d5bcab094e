"""Files of containers and volumes, moved in and out as tar streams by a confined worker."""
