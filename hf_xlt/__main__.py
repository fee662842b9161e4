"""`python -m hf_xlt`, which launchers such as `torchrun` start: the same as `hf-xlt`."""

from hf_xlt.cli import main

if __name__ == "__main__":
    main()
