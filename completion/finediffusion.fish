# SPDX-License-Identifier: Apache-2.0
# Completion of finediffusion for fish. What is offered comes from the program that is typed, so it fits that version.

function __finediffusion_complete
    set -l typed (commandline -opc) (commandline -ct)
    set -l lines ($typed[1] --complete $typed[2..-1] 2>/dev/null)
    for line in $lines[2..-1]
        echo $line
    end
    switch "$lines[1]"
        case files
            __fish_complete_path (commandline -ct)
        case folders
            __fish_complete_directories (commandline -ct)
    end
end
complete -c finediffusion -f -a '(__finediffusion_complete)'
