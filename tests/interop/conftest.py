"""Which files here hold nothing to be tested."""

# Networks in PyTorch, imported by the tests that compare with them, where it is installed.
collect_ignore = ["torch_backbones.py", "torch_infnet.py"]
