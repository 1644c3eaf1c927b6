from cpbench.cli.app import main

main()
