"""Staff grants: an employee's approved, time-limited permission to see one tenant's data for one case."""
