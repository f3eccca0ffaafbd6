"""The pages of the workbench, one router each."""
