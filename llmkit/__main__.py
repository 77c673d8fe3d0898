"""Run the command line: ``python -m llmkit``."""

from llmkit.cli import main

raise SystemExit(main())
