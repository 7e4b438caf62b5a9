"""Many runs: the catalogue of studies, and the engines that make them."""
