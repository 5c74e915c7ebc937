"""A section that sleeps until it is told to stop, and then ends with the code that it was given; started by a test."""

import signal
import sys
import time


def stop(number, frame):
    del number, frame
    sys.exit(int(sys.argv[1]))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    print("asleep", flush=True)
    time.sleep(60)
