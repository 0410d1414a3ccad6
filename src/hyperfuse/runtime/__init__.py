"""Threads, memory, devices and child processes of this machine."""
