"""Forks programs from a process that has imported what training imports.

A test that disturbs training starts some processes, each of which would import for seconds what it
does not test. `python fork_server.py SOCKET` imports it once, and touches no device and starts no
thread; then it forks for each request, which is a line of JSON with the code, the arguments and the
environment of a program, sent with the file descriptors of its output. The answer is the program's
process id, and its exit status when it has ended.
"""

import json
import os
import selectors
import signal
import socket
import sys
import traceback


def run(code: str, arguments: list[str], environment: dict[str, str], output: int) -> None:
    """Becomes the program of a request, as `python -c CODE ARGUMENTS` would; never returns."""
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    for name, number in (("stdout", 1), ("stderr", 2)):
        setattr(sys, name, os.fdopen(number, "w", buffering=1, encoding="utf-8", closefd=False))
    status = 1
    try:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)  # noqa: T201
    except KeyboardInterrupt:
        traceback.print_exc()
        status = 130
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        import atexit

        atexit._run_exitfuncs()
        os._exit(status)


def serve(path: str) -> None:
    """Forks for each request until the other end is closed."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    print("ready", flush=True)  # noqa: T201
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj == sys.stdin.fileno():
                return
            if key.fileobj is listener:
                connection, _ = listener.accept()
                _fork(connection, listener, selector)
                continue
            selector.unregister(key.fileobj)
            pid, connection = key.data
            _, status = os.waitpid(pid, 0)
            os.close(key.fd)
            with connection:
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _fork(
    connection: socket.socket, listener: socket.socket, selector: selectors.BaseSelector
) -> None:
    message, (output,), _, _ = socket.recv_fds(connection, 1 << 16, 1)
    while not message.endswith(b"\n"):
        message += connection.recv(1 << 16)
    request = json.loads(message)
    pid = os.fork()
    if pid == 0:
        selector.close()
        listener.close()
        connection.close()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run(request["code"], request["arguments"], request["environment"], output)
    os.close(output)
    connection.sendall(f"{pid}\n".encode())
    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, connection))


if __name__ == "__main__":
    exec(sys.argv[2], {"__name__": "imports"})
    serve(sys.argv[1])
