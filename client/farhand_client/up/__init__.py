"""`farhand up HOST`: installs and starts Farhand on another machine over ssh, and takes it back.

`ssh`           finds the program and its destination
`bootstrap`     the text that finds a Python there and turns it into the far side (`there`)
`conversation`  the one ssh process, and the requests to the far side
`wheel`         makes a wheel of what is installed here; `fitting` says which wheels fit another machine
`wheelhouse`    all wheels that the other machine needs
`host_section`  the section of the host in `config.toml`
`offered_keys`  the public keys that this client offers
`raise_host`    the steps up; `take_down` the steps back
"""
