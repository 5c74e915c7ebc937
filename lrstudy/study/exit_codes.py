"""What a command says by the code with which it ends; the README lists them."""

OK, RUN_FAILED, BAD_COMMAND, CLAIM_FAILED, STOPPED = 0, 1, 2, 3, 75
