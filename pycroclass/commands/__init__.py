"""The commands of ``pycroclass``, by what they do; `pycroclass.cli` joins them."""
