"""packshot on Prefect: the six stages as tasks, and the release as one act. Nothing else imports prefect."""
