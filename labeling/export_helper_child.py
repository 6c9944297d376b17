"""The second process that writes a long table. It is told of an export, then asked for parts of it."""

import gc
import signal
import sys
from multiprocessing.connection import Connection

import django


def main(connection: Connection) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it ends when the export does
        signal.signal(number, signal.SIG_IGN)
    django.setup()
    from labeling.export_helper import text, unpacked

    # What was imported stays: not to be gone over for each part.
    gc.freeze()

    try:
        export, write = unpacked(connection.recv())
        connection.send_bytes(b"")
        while True:
            connection.send_bytes(text(export, write, connection.recv()).encode())
    except (EOFError, OSError):  # nobody waits for it any more
        return


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
