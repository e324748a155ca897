"""Customers that a company will win in a forecast's window: how many, when, at what price; sampled a draw at a time."""

from clvforecast.new_customers.lives import new_customer_ledger as new_customer_ledger
from clvforecast.new_customers.lives import new_customer_states as new_customer_states
from clvforecast.new_customers.lives import simulate_new_customers as simulate_new_customers
from clvforecast.new_customers.rate import LearnedRate as LearnedRate
from clvforecast.new_customers.rate import learn_rate as learn_rate
from clvforecast.new_customers.sample import PlannedNewCustomers as PlannedNewCustomers
from clvforecast.new_customers.sample import TrailingNewCustomers as TrailingNewCustomers
from clvforecast.new_customers.sample import new_customer_policy as new_customer_policy
from clvforecast.new_customers.sample import sample_new_customers as sample_new_customers
from clvforecast.new_customers.won import new_customers as new_customers
from clvforecast.new_customers.won import trailing_counts as trailing_counts
