"""A study in the hands of others: processes beside this one, array jobs, pods."""
