"""ssh's command line and ssh_config(5): what people have written down about their hosts, read as ssh reads it.

    splitting     a line of the file -> its keyword and arguments
    patterns      `*`, `?` and `!` in names of hosts and users
    keywords      which keywords there are, and what form their values have
    settings      lines -> values, the first of which counts
    files         the files, with Host, Match and Include
    tokens        %h, ${NAME} and ~ in values
    command_line  the words after `ssh` -> settings, host and command
    uses          what Farhand does about each keyword: uses it, needs no such thing, or refuses it

There is no library that this could be left to: paramiko's knows no Include and brings a second implementation of SSH,
asyncssh's takes 250 ms to import. Reading the files must take 3 ms at most, with what is loaded anyway.
"""
