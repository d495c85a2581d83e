"""What runs on the controller: from a configuration to a results folder. The only place that knows SSH."""
