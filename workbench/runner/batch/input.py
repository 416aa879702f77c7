"""A batch's input file: lines that are made of what the gate released to one destination, and of nothing else.

file = Input(folder.input(part), destination)
file.add(key, gate(payload, destination), max_bytes)
file.close()
await api.upload(file)                   # which takes no other
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import BinaryIO, Final

from workbench import project
from workbench.privacy import Destination, Released, check_released

URL: Final = "/v1/chat/completions"
_LIVE_ONLY = ("stream", "stream_options")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


class Input:
    """Requests in a file, readable by its owner only.

    Attributes:
        destination: where they may go.
    """

    def __init__(self, path: Path, destination: Destination) -> None:
        self.path = path
        self.destination = destination
        self._size = 0
        self._file: BinaryIO = project.private_file(path).open("wb")

    def add(self, key: str, released: Released, max_bytes: int) -> bool:
        """Write a request, unless the file would have more bytes than `max_bytes` with it; the first always fits.

        Returns:
            Whether it was written.

        Raises:
            OSError: it cannot be written.
            TypeError, ValueError: the gate did not release it, or not to this destination.
        """
        check_released(released, self.destination)
        body = {name: value for name, value in released.body.items() if name not in _LIVE_ONLY}
        line = f'{{"custom_id":"{key}","method":"POST","url":"{URL}","body":{_encode(body)}}}\n'.encode()
        if self._size and self._size + len(line) > max_bytes:
            return False
        self._file.write(line)
        self._size += len(line)
        return True

    def close(self) -> None:
        """End it.

        Raises:
            OSError: the last of it cannot be written.
        """
        self._file.close()
