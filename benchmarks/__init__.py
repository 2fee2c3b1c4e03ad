"""How fast pycroclass is beside its peers and beside the limit of the machine, all measured in the same run."""
