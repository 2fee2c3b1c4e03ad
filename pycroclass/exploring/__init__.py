"""What is in data without labels: components, end members and clusters as datasets to look at, and how many of them there are."""
