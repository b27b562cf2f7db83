"""The parts of the HTML report, each a function from results to markup."""
