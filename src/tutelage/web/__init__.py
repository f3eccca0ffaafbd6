"""The workbench: runs, review, report, playground, studies and classroom as pages on loopback (`tutelage ui`)."""
