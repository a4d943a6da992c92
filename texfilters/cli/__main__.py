from texfilters.cli import main

main()
